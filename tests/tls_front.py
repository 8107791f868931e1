"""A program: TLS in front of a server that has none, as stunnel does it: the tests' Redis is such.

Given the server's port on loopback, a certificate with its key and an authority whose clients it
lets in, prints the port where the server is reached encrypted.
"""

import asyncio
import ssl
import subprocess
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def encrypted(port: int, certificate: Path, authority: Path) -> Iterator[int]:
    """The port of this program, running."""
    command = [sys.executable, __file__, str(port), str(certificate), str(authority)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


async def main(port: int, certificate: str, authority: str) -> None:
    async def accept(reader: StreamReader, writer: StreamWriter) -> None:
        there, away = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pass(reader, away), _pass(there, writer))

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _pass(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
