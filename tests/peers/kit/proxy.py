#!/usr/bin/env python3
"""Pass TCP connections on, byte by byte, until it is killed.

Stopped by SIGSTOP it is a network that has gone silent: connections stay open,
and nothing comes through. Prints READY when it listens.
"""

import argparse
import asyncio


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def serve(port: int, target: int) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        except ConnectionError:
            writer.close()
            return
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    print("READY", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("port", type=int, metavar="PORT", help="where it listens, on 127.0.0.1")
    parser.add_argument("target", type=int, metavar="TARGET", help="the port that it passes on to")
    args = parser.parse_args()
    asyncio.run(serve(args.port, args.target))


if __name__ == "__main__":
    main()
