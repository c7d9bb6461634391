"""Who signed what: DSSE envelopes around in-toto statements, by Ed25519 keys that are trusted with one role each.

A signature is an object of its own beside what it signs, written before it: what is committed was signed. It names the
key of the store and the SHA-256 of the bytes that stand there, so that it proves nothing about another place. Whom to
trust stands in the experiment, never in the store: who owns the bucket owns no private key and cannot add one.
"""

import base64
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)
from pydantic import BaseModel, Field, model_validator

from churn_assets.store.backend import Backend, stored
from churn_assets.store.canonical import canonical_json, parse_json, sha256_bytes
from churn_assets.store.digests import info_of
from churn_assets.store.errors import (
    ContentError,
    CorruptArtifact,
    InvalidSetting,
    ObjectMissing,
    UnsignedContent,
)
from churn_assets.store.names import ACTS, CHANNELS, ERASED, record_place

Role = Literal["builder", "promoter"]
"""What a key is trusted with: builders sign versions and gate reports, promoters the records of channels and of
acts."""

SIGNATURES = "signatures/"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "churn-assets/stored/1"
_DIGITS = 16
PRIVATE_KEYS: Mapping[Role, str] = {"builder": "CHURN_BUILDER_KEY", "promoter": "CHURN_PROMOTER_KEY"}
"""Environment variables of the private keys: PEM (PKCS 8), or the file that holds it after `@`."""


class TrustedKey(BaseModel, frozen=True, extra="forbid"):
    """A public key and what it is trusted with.

    Attributes:
        name: For people.
        role: What it may sign.
        public: Ed25519, as one line of base64 (DER): what `openssl pkey -pubout -outform DER | base64` gives.
        revoked: It was lost: nothing that it ever signed is trusted. One that merely went out of use stays trusted.
    """

    name: Annotated[str, Field(min_length=1, max_length=128)]
    role: Role
    public: str
    revoked: bool = False

    @model_validator(mode="after")
    def _is_a_key(self) -> Self:
        _public(self.public)
        return self

    @property
    def id(self) -> str:
        """Short name of the key itself."""
        return key_id(_public(self.public))


class SignaturePolicy(BaseModel, frozen=True, extra="forbid"):
    """Whose signatures a store needs.

    Attributes:
        require_signatures: Nothing is loaded, promoted or served that no trusted key signed.
        trusted_keys: Whom to trust with what; several of a role while keys change.
    """

    require_signatures: bool = False
    trusted_keys: tuple[TrustedKey, ...] = ()

    @model_validator(mode="after")
    def _keys_differ_and_suffice(self) -> Self:
        for what in ("name", "id"):
            names = [getattr(key, what) for key in self.trusted_keys]
            if twice := sorted({each for each in names if names.count(each) > 1}):
                raise ValueError(
                    f"store.trusted_keys: found {what} {twice[0]!r} twice, expected keys that differ"
                )
        roles = {key.role for key in self.trusted_keys if not key.revoked}
        if self.require_signatures and len(roles) < len(PRIVATE_KEYS):
            raise ValueError(
                f"store.require_signatures: found trusted keys of {', '.join(sorted(roles)) or 'nobody'}, expected a "
                "builder's and a promoter's in store.trusted_keys"
            )
        return self


class Signatures:
    """Signs what is written to a store, and checks what is read from it.

    Args:
        policy: Whom to trust.
        environment: Where the private keys are named.
    """

    def __init__(self, policy: SignaturePolicy, environment: Mapping[str, str] = os.environ) -> None:
        self.policy = policy
        self._environment = environment

    def sign(self, backend: Backend, key: str, data: bytes) -> None:
        """Sign what is about to be written under a key; nothing happens where nobody has to and no key is given.

        Raises:
            InvalidSetting: The private key is missing, none, or not trusted with this.
            UnsignedContent: What is stored where the signature belongs is none.
        """
        role = role_of(key)
        private = self._private(role)
        if private is None:
            return
        signer = self._trusted(role, private)
        payload = canonical_json(_statement(key, data, _lengths(backend)))
        signature = {"keyid": signer.id, "sig": _text(private.sign(_encoded(payload)))}
        envelope = canonical_json(
            {"payloadType": PAYLOAD_TYPE, "payload": _text(payload), "signatures": [signature]}
        )
        place = _place(key, data, signer.id)
        if stored(backend, place, envelope) != info_of(
            envelope
        ):  # of an earlier try, when a channel was shorter
            self.confirm(backend, key, data)

    def check(self, backend: Backend, key: str, data: bytes) -> None:
        """Refuse what no trusted key signed, where the policy asks for signatures.

        Raises:
            UnsignedContent: No signature, none by a key that is trusted with it, or one that does not hold.
        """
        if self.policy.require_signatures:
            self.confirm(backend, key, data)

    def confirm(self, backend: Backend, key: str, data: bytes) -> Mapping[str, int]:
        """The signature by a trusted key, whatever the policy asks for.

        Returns:
            How many records each log had when it was signed.

        Raises:
            UnsignedContent: There is none that holds.
        """
        role, found = role_of(key), []
        for trusted in self.policy.trusted_keys:
            try:
                envelope = backend.read(_place(key, data, trusted.id))
            except ObjectMissing:
                continue
            except ContentError as error:
                found.append(str(error))
                continue
            problem, heads = _opened(envelope, key, data, trusted)
            if trusted.revoked or trusted.role != role:
                what = "revoked" if trusted.revoked else f"of a {trusted.role}"
                found.append(f"a signature by key {trusted.name!r}, which is {what}")
            elif problem:
                found.append(f"a signature by key {trusted.name!r} {problem}")
            else:
                return heads
        said = "; ".join(found) or "no signature by a trusted key"
        raise UnsignedContent(key, said, f"one by a trusted {role} (store.trusted_keys)")

    def own_roles(self) -> list[Role]:
        """Roles that this machine has a private key of.

        Raises:
            InvalidSetting: There is none.
        """
        found: list[Role] = [
            role for role, variable in PRIVATE_KEYS.items() if self._environment.get(variable)
        ]
        if not found:
            raise InvalidSetting(
                f"{' and '.join(PRIVATE_KEYS.values())}: not set, expected a private key in one"
            )
        return found

    def _private(self, role: Role) -> Ed25519PrivateKey | None:
        variable = PRIVATE_KEYS[role]
        text = self._environment.get(variable, "")
        if not text:
            if self.policy.require_signatures:
                message = f"{variable}: not set, expected the private key of a {role}: store.require_signatures is true"
                raise InvalidSetting(message)
            return None
        return _read_private(variable, text)

    def _trusted(self, role: Role, private: Ed25519PrivateKey) -> TrustedKey:
        wanted = key_id(private.public_key())
        known = next((key for key in self.policy.trusted_keys if key.id == wanted), None)
        found = (
            "a key that is not in store.trusted_keys"
            if known is None
            else f"key {known.name!r}, which is revoked"
            if known.revoked
            else f"key {known.name!r} of a {known.role}"
            if known.role != role
            else ""
        )
        if known is None or found:
            raise InvalidSetting(f"{PRIVATE_KEYS[role]}: found {found}, expected that of a trusted {role}")
        return known


UNSIGNED = Signatures(SignaturePolicy(), {})
"""Signs nothing and asks for nothing."""


def role_of(key: str) -> Role:
    """Who has to sign what is stored under a key."""
    if key.startswith((CHANNELS, ACTS, "erasures/")):
        return "promoter"
    # artifacts/experiment/asset/version/erased/000001.json: an act of people, as a promotion is
    return "promoter" if key.split("/")[4:5] == [ERASED] else "builder"


def key_id(public: Ed25519PublicKey) -> str:
    """Short name of a public key: the first digits of the SHA-256 of its DER form."""
    return sha256_bytes(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))[:_DIGITS]


def new_signing_key() -> tuple[bytes, str]:
    """A new private key as PEM (PKCS 8), and its public half as `store.trusted_keys` takes it."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return pem, _text(public)


def _statement(key: str, data: bytes, channels: Mapping[str, int]) -> dict[str, Any]:
    return {
        "_type": _STATEMENT,
        "subject": [{"name": key, "digest": {"sha256": sha256_bytes(data)}}],
        "predicateType": _PREDICATE,
        "predicate": {"channels": dict(channels)},
    }


def _opened(envelope: bytes, key: str, data: bytes, trusted: TrustedKey) -> tuple[str, Mapping[str, int]]:
    """What is wrong with an envelope, empty if nothing; and what it says of channels."""
    try:
        document = parse_json(envelope, key)
        payload = base64.b64decode(document["payload"], validate=True)
        signature = base64.b64decode(document["signatures"][0]["sig"], validate=True)
        _public(trusted.public).verify(signature, _encoded(payload))
        statement = parse_json(payload, key)
        heads: Mapping[str, int] = statement["predicate"]["channels"]
    except InvalidSignature:
        return "that does not hold", {}
    except (CorruptArtifact, ValueError, TypeError, LookupError):
        return "that cannot be read", {}
    if document.get("payloadType") != PAYLOAD_TYPE or statement != _statement(key, data, heads):
        return "about something else", {}
    return "", heads


def _encoded(payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding of the payload and its type."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _place(key: str, data: bytes, signer: str) -> str:
    return f"{SIGNATURES}{key}/{signer}-{sha256_bytes(data)[:_DIGITS]}.json"


def _lengths(backend: Backend) -> dict[str, int]:
    """How many records each log has now: what is signed says so, and later shows that they are gone."""
    found: dict[str, int] = {}
    for place in map(record_place, [*backend.list(CHANNELS), *backend.list(ACTS)]):
        if place is not None:
            found[place[0]] = max(found.get(place[0], 0), place[1])
    return found


def _read_private(variable: str, text: str) -> Ed25519PrivateKey:
    source = text[1:] if text.startswith("@") else "its value"
    try:
        pem = Path(source).read_bytes() if text.startswith("@") else text.encode()
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidSetting(f"{variable}: {source} is no PEM without a password: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidSetting(f"{variable}: found a {type(key).__name__}, expected an Ed25519 key")
    return key


@cache
def _public(text: str) -> Ed25519PublicKey:
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(
            f"public: found {text:.80}, expected a public key as one line of base64 (DER)"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"public: found a {type(key).__name__}, expected an Ed25519 key")
    return key


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
