#!/usr/bin/env python3
"""A second opinion on S3: a client of the tests' own, which shares no line with the program's.

    s3.py list [PREFIX]           "SIZE KEY" lines of all objects, byte-sorted
    s3.py cat KEY...              their bytes one behind the other
    s3.py head KEY                "NAME: VALUE" lines of its headers, in lower case
    s3.py copy PREFIX DIR         all objects whose keys begin so, below a new folder
    s3.py put KEY [HEADER:VALUE]  an object from stdin
    s3.py remove KEY... | remove-all [PREFIX]   the latter with unfinished uploads
    s3.py uploads [PREFIX]        "KEY ID" lines of all unfinished uploads in parts
    s3.py request METHOD TARGET [HEADER:VALUE...]   TARGET as it is sent, behind /BUCKET; a body
                                  from stdin if that is no terminal; prints status and body

The server and who asks come from S3_ENDPOINT, S3_BUCKET, S3_ACCESS_KEY, S3_SECRET_KEY. Path style,
AWS Signature Version 4. Exit status 1 and the server's answer on stderr if it refuses.
"""
import hashlib
import hmac
import http.client
import os
import ssl
import sys
import time
import urllib.parse
import xml.etree.ElementTree as xml

ENDPOINT = urllib.parse.urlsplit(os.environ["S3_ENDPOINT"])
BUCKET, REGION = os.environ["S3_BUCKET"], "us-east-1"
# An https endpoint's certificate is $S3_TLS_CA.
connection = (http.client.HTTPSConnection(ENDPOINT.hostname, ENDPOINT.port, timeout=60,
                                          context=ssl.create_default_context(cafile=os.environ["S3_TLS_CA"]))
              if ENDPOINT.scheme == "https" else
              http.client.HTTPConnection(ENDPOINT.hostname, ENDPOINT.port, timeout=60))


def quote(text):
    return urllib.parse.quote(text, safe="/-_.~")


def signed(method, path, query, headers, body):
    """The headers with an Authorization; source: the SigV4 chapter of the S3 API reference."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    digest = hashlib.sha256(body).hexdigest()
    headers = {**{k.lower(): v for k, v in headers.items()}, "host": ENDPOINT.netloc,
               "x-amz-date": now, "x-amz-content-sha256": digest}
    names = ";".join(sorted(headers))
    pairs = sorted(p if "=" in p else p + "=" for p in query.split("&") if p)
    canonical = "\n".join([method, path, "&".join(pairs),
                           *(f"{k}:{headers[k].strip()}" for k in sorted(headers)), "", names, digest])
    scope = f"{now[:8]}/{REGION}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + os.environ["S3_SECRET_KEY"]).encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={os.environ['S3_ACCESS_KEY']}/{scope}, "
                                f"SignedHeaders={names}, Signature={key.hex()}")
    return headers


def request(method, target, body=b"", headers=()):
    path, _, query = (f"/{BUCKET}" + target).partition("?")
    headers = signed(method, path, query, dict(h.split(":", 1) for h in headers), body)
    connection.request(method, path + (f"?{query}" if query else ""), body or None, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def head(key):
    path = f"/{BUCKET}/" + quote(key)
    connection.request("HEAD", path, None, signed("HEAD", path, "", {}, b""))
    answer = connection.getresponse()
    answer.read()
    if answer.status >= 300:
        sys.exit(f"s3.py: HEAD {key}: {answer.status}")
    return answer.getheaders()


def wanted(method, target, body=b"", headers=()):
    status, answer = request(method, target, body, headers)
    if status >= 300:
        sys.exit(f"s3.py: {method} {target}: {status} {answer.decode(errors='replace')}")
    return answer


def listing(prefix=""):
    token = ""
    while token is not None:
        more = f"continuation-token={urllib.parse.quote(token, safe='')}&" if token else ""
        page = xml.fromstring(wanted("GET", f"/?{more}list-type=2&prefix={urllib.parse.quote(prefix, safe='')}"))
        space = page.tag.partition("}")[0] + "}" if "}" in page.tag else ""
        for item in page.iter(space + "Contents"):
            yield item.findtext(space + "Key"), int(item.findtext(space + "Size"))
        token = page.findtext(space + "NextContinuationToken")


def uploads(prefix=""):
    """All of at most 1000."""
    page = xml.fromstring(wanted("GET", f"/?prefix={urllib.parse.quote(prefix, safe='')}&uploads="))
    space = page.tag.partition("}")[0] + "}" if "}" in page.tag else ""
    return [(u.findtext(space + "Key"), u.findtext(space + "UploadId")) for u in page.iter(space + "Upload")]


def main(command, *args):
    if command == "list":
        for key, size in listing(*args):
            print(size, key)
    elif command == "cat":
        for key in args:
            sys.stdout.buffer.write(wanted("GET", "/" + quote(key)))
    elif command == "head":
        for name, value in head(args[0]):
            print(f"{name.lower()}: {value}")
    elif command == "copy":
        prefix, folder = args
        os.makedirs(folder)
        for key, _ in listing(prefix):
            path = os.path.join(folder, key[len(prefix):])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(wanted("GET", "/" + quote(key)))
    elif command == "put":
        wanted("PUT", "/" + quote(args[0]), sys.stdin.buffer.read(), args[1:])
    elif command in ("remove", "remove-all"):
        for key in args if command == "remove" else [k for k, _ in listing(*args)]:
            wanted("DELETE", "/" + quote(key))
        for key, upload in uploads(*args) if command == "remove-all" else []:
            wanted("DELETE", f"/{quote(key)}?uploadId={quote(upload)}")
    elif command == "uploads":
        for key, upload in uploads(*args):
            print(key, upload)
    elif command == "request":
        body = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
        status, answer = request(args[0], args[1], body, args[2:])
        print(status)
        sys.stdout.flush()
        sys.stdout.buffer.write(answer)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
