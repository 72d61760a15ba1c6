# Sends a line through a proxy by PySocks, ends its output, and prints what comes back.
# Arguments: SOCKS4|SOCKS5|HTTP PROXY-HOST PROXY-PORT USER PASSWORD HOST PORT
import sys

import socks

kind, proxy_host, proxy_port, user, password, host, port = sys.argv[1:]
connection = socks.create_connection(
    (host, int(port)),
    timeout=20,
    proxy_type=getattr(socks, kind),
    proxy_addr=proxy_host,
    proxy_port=int(proxy_port),
    proxy_rdns=True,
    proxy_username=user or None,
    proxy_password=password or None,
)
connection.sendall(b"ping\n")
connection.shutdown(1)
answer = b""
while part := connection.recv(1024):
    answer += part
sys.stdout.write(answer.decode())
