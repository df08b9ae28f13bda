"""The floor of every answer over a socket: asyncio's own Unix server, which sends each line back.

`python echo_server.py PATH` prints one line when it listens.
"""

import asyncio
import sys


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the client hangs up."""
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def serve(path: str) -> None:
    """For ever."""
    server = await asyncio.start_unix_server(echo, path)
    print("listening", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
