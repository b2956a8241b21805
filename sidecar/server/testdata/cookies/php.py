# Asks a running PHP (its address is the second argument) about each line, over a
# plain socket, since no client library would send some of them.
import json
import socket
import sys


def ask(line):
    host, port = sys.argv[2].split(":")
    with socket.create_connection((host, int(port))) as conn:
        conn.sendall(b"GET / HTTP/1.0\r\nHost: x\r\nCookie: " + line.encode("latin-1") + b"\r\n\r\n")
        answer = b""
        while chunk := conn.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return json.loads(body) if b" 200 " in head.split(b"\r\n")[0] else []


json.dump({"PHP": [ask(line) for line in json.load(open(sys.argv[1]))]}, sys.stdout)
