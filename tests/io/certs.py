"""Certificates for the TLS tests: good ones, and each kind of bad one."""

import datetime
import functools
import ssl
import tempfile
from pathlib import Path

import trustme

LONG_AGO = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)


@functools.cache
def authority():
    """Return an authority and the path of its PEM file."""
    ca = trustme.CA()
    path = Path(tempfile.mkdtemp(prefix="gapless-")) / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return ca, str(path)


@functools.cache
def context(kind):
    """Return a server's TLS context: ``good``, ``wrong host``, ``untrusted`` or ``expired``."""
    ca = trustme.CA() if kind == "untrusted" else authority()[0]
    host = "other.test" if kind == "wrong host" else "127.0.0.1"
    cert = ca.issue_cert(
        host,
        not_before=LONG_AGO if kind == "expired" else None,
        not_after=LONG_AGO + datetime.timedelta(days=1) if kind == "expired" else None,
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    cert.configure_cert(server)
    return server
