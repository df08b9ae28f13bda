"""Which CRN gets a VM."""

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aleph_agentd.domain.crn import Gpu
from aleph_agentd.domain.errors import Denied, NotFound, Unavailable
from aleph_agentd.domain.gpu import GpuTier
from aleph_agentd.domain.model import Crn
from aleph_agentd.domain.placement import Need, choose, fits, named, rank
from support.fake_network import a_crn

NEED = Need(2, 4096, 40_960)
DICE = random.Random(1)
LIST = tuple(a_crn(number) for number in range(1, 8))
ADA = Gpu("RTX 4000 ADA", "NVIDIA", "AD104GL", "0300", "10de:27b0")
H100 = Gpu("H100", "NVIDIA", "GH100", "0302", "10de:2336")
TIERS = {
    "rtx 4000 ada": GpuTier("RTX 4000 ADA", 3, Decimal(36)),
    "h100": GpuTier("H100", 24, Decimal(575)),
}


ROOM = {"free_memory_mib": 10**6, "free_disk_mib": 10**7}


def a_gpu_need(wanted: str) -> Need:
    """A VM with a GPU."""
    return Need(1, 2048, 20_480, wanted, TIERS)


@pytest.mark.parametrize(
    ("flaw", "why"),
    [
        ({"active": False}, "is not active"),
        ({"qemu": False}, "does not run instances"),
        ({"ipv6": False}, "no working IPv6"),
        ({"cpu_count": 1}, "has 1 CPUs"),
        ({"free_memory_mib": 4095}, "4095 MiB of memory free"),
        ({"free_disk_mib": 40_959}, "40959 MiB of disk free"),
    ],
)
def test_a_crn_with_a_flaw_is_never_chosen_and_says_which_when_named(flaw: dict[str, Any], why: str) -> None:
    """What its own list entry admits."""
    bad = a_crn(1, **flaw)
    assert why in fits(bad, NEED)
    assert rank([bad, a_crn(2)], NEED) == [a_crn(2)]
    with pytest.raises(Unavailable, match=why):
        choose([bad], NEED, wanted="crn-1", dice=DICE)


def test_just_enough_is_enough() -> None:
    """The limits are inclusive."""
    assert fits(a_crn(1, cpu_count=2, free_memory_mib=4096, free_disk_mib=40_960), NEED) == ""


def test_a_gpu_is_asked_only_when_it_is_needed() -> None:
    """And then insisted upon, with the size that comes with the model."""
    assert fits(a_crn(1), NEED) == ""
    assert fits(a_crn(1), a_gpu_need("any")) == "has no GPU free"
    assert fits(a_crn(1, gpus=(ADA,)), a_gpu_need("any")) == ""
    assert fits(a_crn(1, gpus=(ADA,)), a_gpu_need("h100")) == "has no GPU h100 free"
    assert fits(a_crn(1, gpus=(H100,), cpu_count=23), a_gpu_need("h100")) == "has 23 CPUs"


def test_any_gpu_is_the_cheapest_there_is_and_a_model_is_that_model() -> None:
    """However good the dearer CRN's score is."""
    crns = [a_crn(1, gpus=(H100,), **ROOM), a_crn(2, gpus=(H100, ADA), **ROOM), a_crn(3)]
    for seed in range(5):
        dice = random.Random(seed)
        assert choose(crns, a_gpu_need("any"), dice=dice).crn.name == "crn-2"
        assert choose(crns, a_gpu_need("h100"), dice=dice).crn.name in ("crn-1", "crn-2")
        assert choose(crns, a_gpu_need("4000"), dice=dice).crn.name == "crn-2"
    assert "cheapest GPU" in choose(crns, a_gpu_need("any"), dice=DICE).why


def test_cheapest_goes_before_score_when_asked() -> None:
    """Without a GPU every CRN costs the same."""
    crns = [a_crn(1, gpus=(H100,), **ROOM), a_crn(2, gpus=(ADA,))]
    assert [crn.name for crn in rank(crns, a_gpu_need("any"), cheapest=True)] == ["crn-2", "crn-1"]
    assert [crn.name for crn in rank(crns, a_gpu_need("any"))] == ["crn-1", "crn-2"]


def test_a_crn_that_failed_us_lately_comes_after_its_equals() -> None:
    """And the answer says so when it is taken all the same."""
    assert rank(LIST, NEED, {LIST[0].hash: 1})[0] == LIST[1]
    why = choose(LIST[:1], NEED, failures={LIST[0].hash: 2}, dice=DICE).why
    assert "2 recent failures" in why
    assert "\n" not in why


def test_the_best_come_first_by_score_then_memory_then_hash() -> None:
    """The same list gives the same order on every machine."""
    twin = a_crn(9, score=0.99, free_memory_mib=70_000)
    assert [crn.name for crn in rank([*LIST, twin], NEED)][:3] == ["crn-9", "crn-1", "crn-2"]


@pytest.mark.parametrize(
    "wanted",
    ["crn-3", "CRN-3", "03" * 32, "03" * 4, "http://127.0.0.13:8000", "http://127.0.0.13:8000/", " crn-3 "],
)
def test_a_crn_is_named_by_name_hash_prefix_or_url(wanted: str) -> None:
    """In any case, with or without a slash."""
    assert named(LIST, wanted).name == "crn-3"


def test_a_prefix_of_a_name_is_enough_when_it_fits_one() -> None:
    """Sample prompt: `on CRN NtS9`."""
    assert named([a_crn(1, name="NtS9-paris"), a_crn(2)], "nts9").name == "NtS9-paris"


@pytest.mark.parametrize("wanted", ["nowhere", "03" * 3, "http://127.0.0.13:9000", "x" * 5000, "crn"])
def test_what_names_no_or_several_crns_is_refused(wanted: str) -> None:
    """With candidates, and without an echo of megabytes."""
    with pytest.raises(NotFound) as refused:
        named(LIST, wanted)
    assert len(refused.value.message) < 500


def test_a_crn_that_takes_another_s_hash_as_its_name_is_not_taken_for_it() -> None:
    """Names are their owners' claims."""
    thief = a_crn(9, name="03" * 32)
    with pytest.raises(NotFound, match="fits 2"):
        named([*LIST, thief], "03" * 32)


def test_terms_are_accepted_only_by_their_hash() -> None:
    """Named or not; naming a CRN accepts nothing."""
    terms = a_crn(1, terms_and_conditions="ab" * 32)
    with pytest.raises(Denied, match="ab" * 32) as refused:
        choose([terms], NEED, wanted="crn-1", accept=["cd" * 32], dice=DICE)
    assert f"accept_terms={'ab' * 32}" in refused.value.hint
    with pytest.raises(Unavailable, match="None of the 1"):
        choose([terms], NEED, dice=DICE)
    for wanted in ("crn-1", ""):
        assert choose([terms], NEED, wanted=wanted, accept=["ab" * 32], dice=DICE).crn == terms


@given(st.integers(0, 10**9), st.sets(st.sampled_from([crn.hash for crn in LIST]), max_size=6))
def test_the_choice_is_one_of_the_best_three_that_are_not_avoided(seed: int, avoid: set[str]) -> None:
    """Load spreads; what failed before is not tried again."""
    left = [crn for crn in LIST if crn.hash not in avoid]
    choice = choose(LIST, NEED, avoid=avoid, dice=random.Random(seed))
    assert choice.crn in left[:3]


def test_only_allowed_crns_are_chosen() -> None:
    """The owner's list, also when it is not the best."""
    allowed = {LIST[6].hash}
    assert choose(LIST, NEED, allowed=allowed, dice=DICE).crn == LIST[6]
    with pytest.raises(Unavailable):
        choose(LIST[:6], NEED, allowed=allowed, dice=DICE)


def test_when_none_is_left_it_says_how_many_were_tried() -> None:
    """And what was needed."""
    crns: list[Crn] = [a_crn(1)]
    with pytest.raises(Unavailable, match=r"2 vCPU with 4096 MiB.*1 were tried"):
        choose(crns, NEED, avoid={crns[0].hash}, dice=DICE)
