"""`messages.json`: filters, pages and the cursor."""

from aleph.sdk.query.filters import MessageFilter
from aleph_message.models import MessageType

from support.local_network import LocalNetwork

LIST = "/api/v0/messages.json"


async def several(net: LocalNetwork, count: int, **changes) -> list[str]:
    """Create VMs, the oldest first."""
    return [await net.create(**changes) for _ in range(count)]


def hashes(body) -> list[str]:
    """The hashes of a listing."""
    return [message["item_hash"] for message in body["messages"]]


async def test_the_default_listing_is_the_newest_twenty_processed_or_removing(net: LocalNetwork) -> None:
    """Default statuses: processed + removing; 20 per page, the newest first."""
    made = await several(net, 22)
    await net.control(f"messages/{made[-1]}", {"status": "removing"})
    await net.post(await net.signed_forget(made[-2]))
    _, body = await net.get(LIST, msgTypes="INSTANCE", addresses=net.address())
    assert (body["pagination_total"], body["pagination_per_page"], len(body["messages"])) == (21, 20, 20)
    assert hashes(body)[0] == made[-1]
    assert made[-2] not in hashes(body)


async def test_pagination_zero_lists_everything(net: LocalNetwork) -> None:
    """`pagination=0` = all."""
    made = await several(net, 25)
    _, body = await net.get(LIST, msgTypes="INSTANCE", pagination=0)
    assert hashes(body) == made[::-1]


async def test_pages_cover_everything_once(net: LocalNetwork) -> None:
    """`pagination=100&page=1`: pages do not overlap."""
    made = await several(net, 7)
    seen = []
    for page in (1, 2, 3, 4):
        _, body = await net.get(LIST, msgTypes="INSTANCE", pagination=3, page=page)
        seen += hashes(body)
    assert seen == made[::-1]


async def test_a_cursor_walks_through_everything_with_the_sdk(net: LocalNetwork) -> None:
    """`cursor=`: an empty cursor starts, `next_cursor` goes on, None ends."""
    made = await several(net, 7)
    client = await net.sdk()
    seen, cursor = [], ""
    while cursor is not None:
        answer = await client.get_messages_cursor(
            page_size=3, cursor=cursor, message_filter=MessageFilter(message_types=[MessageType.instance])
        )
        seen += [str(message.item_hash) for message in answer.messages]
        cursor = answer.next_cursor
    assert seen == made[::-1]


async def test_a_cursor_can_go_forward_in_time(net: LocalNetwork) -> None:
    """`sortOrder=1`: the oldest first."""
    made = await several(net, 5)
    _, first = await net.get(LIST, msgTypes="INSTANCE", pagination=3, sortOrder=1, cursor="")
    _, rest = await net.get(LIST, msgTypes="INSTANCE", pagination=3, sortOrder=1, cursor=first["next_cursor"])
    assert hashes(first) + hashes(rest) == made
    assert (first["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)


async def test_addresses_is_the_sender_and_owners_the_payer(net: LocalNetwork) -> None:
    """`addresses` filters the sender; `owners` filters the payer."""
    delegated = await net.create("agent", address=net.address("human"))
    own = await net.create("human")
    _, by_sender = await net.get(LIST, msgTypes="INSTANCE", addresses=net.address("agent"))
    _, by_owner = await net.get(LIST, msgTypes="INSTANCE", owners=net.address("human"))
    assert hashes(by_sender) == [delegated]
    assert hashes(by_owner) == [own, delegated]


async def test_tags_of_metadata_filter(net: LocalNetwork) -> None:
    """[obs] `tags`, a list of strings on which `messages.json?tags=…` filters."""
    tagged = await net.create(metadata={"lease": "1", "tags": ["aleph-agentd", "x"]})
    await net.create(metadata={"tags": ["other"]})
    await net.create()
    _, body = await net.get(LIST, msgTypes="INSTANCE", tags="aleph-agentd,nobody")
    assert hashes(body) == [tagged]
    client = await net.sdk()
    found = await client.get_messages(message_filter=MessageFilter(tags=["aleph-agentd"]))
    assert [m.item_hash for m in found.messages] == [tagged]


async def test_forgotten_and_processed_cannot_be_listed_together(net: LocalNetwork) -> None:
    """[obs] Mixing forgotten with processed → 400."""
    item_hash = await net.create()
    await net.post(await net.signed_forget(item_hash))
    assert (await net.get(LIST, msgStatuses="processed,forgotten"))[0] == 400
    _, body = await net.get(LIST, msgStatuses="forgotten", msgTypes="INSTANCE")
    assert hashes(body) == [item_hash]
    assert "content" not in body["messages"][0]


async def test_hashes_filter(net: LocalNetwork) -> None:
    """`hashes=`: only those."""
    first, _, third = await several(net, 3)
    _, body = await net.get(LIST, hashes=f"{first},{third}")
    assert hashes(body) == [third, first]


async def test_rejected_and_pending_messages_are_not_listed(net: LocalNetwork) -> None:
    """A rejected create is found by its hash only."""
    await net.post(await net.signed_instance("unfunded"))
    await net.post(await net.signed_instance(rootfs="ab" * 32))
    _, body = await net.get(LIST, msgTypes="INSTANCE", msgStatuses="processed,removing,pending,rejected")
    assert body["messages"] == []


async def test_get_instances_reads_only_the_first_100(net: LocalNetwork) -> None:
    """The SDK's `instance.get_instances()` reads only the first 100."""
    await net.control("credits", {"address": net.address(), "units": 10**12})
    for number in range(103):
        await net.post(await net.signed_instance(metadata={"number": number}))
    assert len(await (await net.sdk()).instance.get_instances(net.address())) == 100


async def test_bad_queries_are_refused(net: LocalNetwork) -> None:
    """Numbers that are none, pages below one, cursors that are none: 422."""
    for query in ({"page": "0"}, {"pagination": "x"}, {"cursor": "%%"}, {"startDate": "soon"}):
        assert (await net.get(LIST, **query))[0] == 422


async def test_content_can_be_left_out(net: LocalNetwork) -> None:
    """`excludeContent=true` leaves out the parsed content."""
    await net.create()
    _, body = await net.get(LIST, msgTypes="INSTANCE", excludeContent="true")
    assert "content" not in body["messages"][0]
