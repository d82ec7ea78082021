"""Sites of https: reached through a tunnel, with a certificate that is trusted, or by leave."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agentlab.errors import EnvironmentFaultError
from tests.browser.opened_site import OpenedSite
from tests.browser.sites import JSON, Reply, Site


def own_certificate(folder: Path) -> ssl.SSLContext:
    """Of a server whose certificate no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "site.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Site]:
    """A site of https with a certificate of its own."""
    made = Site(secure=own_certificate(tmp_path))
    made.page("/", "<h1>Safe</h1><a href='/next'>On</a>")
    made.page("/next", "<h1>Next</h1>")
    made.replies["/state"] = Reply(b'{"orders": 3}', headers=JSON)
    yield made
    made.close()


def test_a_certificate_that_nobody_signed_is_refused(secure: Site) -> None:
    with (
        pytest.raises(EnvironmentFaultError, match="refused: its certificate is not trusted"),
        OpenedSite(secure.url),
    ):
        pass
    assert secure.asked == []


def test_nor_is_the_state_read_from_such_a_site(secure: Site, site: Site) -> None:
    site.page("/", "<h1>Home</h1>")
    with (
        pytest.raises(EnvironmentFaultError, match="gave no answer"),
        OpenedSite(site.url, origins=secure.url, state_url=f"{secure.url}/state"),
    ):
        pass
    assert secure.asked == []


def test_it_is_accepted_by_leave_and_the_list_of_origins_holds(
    secure: Site, tmp_path: Path, other_site: Site
) -> None:
    other = Site(secure=own_certificate(tmp_path))
    secure.page("/out", f"<script>fetch('{other.url}/', {{mode: 'no-cors'}})</script>Out")
    with OpenedSite(secure.url, own_certificates=True, state_url="/state") as opened:
        assert "Safe" in opened.first.text
        assert "Next" in opened.done("click", name="On").text
        assert opened.state()["orders"] == 3
        shown = opened.done("goto", url="/out").text
        assert "(a secure or socket connection): it is not on the list" in shown
        assert "not on the list" in opened.refused("goto", url=other.url)
        assert "not on the list" in opened.refused("goto", url=other_site.url)
    assert other.asked == [] and other_site.asked == []
    other.close()


def test_a_site_that_offers_it_is_not_spoken_to_in_many_answers_at_once(tmp_path: Path) -> None:
    context = own_certificate(tmp_path)
    context.set_alpn_protocols(["h2", "http/1.1"])  # the site itself speaks the second alone
    site = Site(secure=context)
    site.page("/", "<h1>Plain</h1>")
    with OpenedSite(site.url, own_certificates=True) as opened:
        assert "Plain" in opened.first.text
    site.close()
