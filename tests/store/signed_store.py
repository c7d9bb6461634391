"""Keys of builders and promoters, and stores that ask for their signatures."""

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.backend import Backend
from churn_assets.store.signatures import SignaturePolicy, Signatures, TrustedKey, new_signing_key

BUILDER, PROMOTER = new_signing_key(), new_signing_key()


def trusted(name: str, role: str, key: tuple[bytes, str], *, revoked: bool = False) -> TrustedKey:
    return TrustedKey(name=name, role=role, public=key[1], revoked=revoked)


KEYS = (trusted("builder", "builder", BUILDER), trusted("promoter", "promoter", PROMOTER))


def environment(
    builder: tuple[bytes, str] | None = BUILDER, promoter: tuple[bytes, str] | None = PROMOTER
) -> dict[str, str]:
    given = {"CHURN_BUILDER_KEY": builder, "CHURN_PROMOTER_KEY": promoter}
    return {variable: key[0].decode() for variable, key in given.items() if key is not None}


def signed(
    backend: Backend,
    keys: tuple[TrustedKey, ...] = KEYS,
    given: dict[str, str] | None = None,
    **more: object,
) -> ArtifactStore:
    """A store that asks for signatures; the private keys are this machine's unless others are given."""
    policy = SignaturePolicy(require_signatures=True, trusted_keys=keys)
    return ArtifactStore(backend, None, Signatures(policy, environment() if given is None else given), **more)
