"""Signing what a store holds already: after a change of keys, or when signatures begin to be asked for."""

from collections.abc import Iterator

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.erasures import ERASURES, is_certificate, is_record
from churn_assets.store.errors import ContentError, ObjectMissing, UnsignedContent
from churn_assets.store.gate_reports import is_gate_report, verify_gate_reports
from churn_assets.store.logs import log_names, open_log
from churn_assets.store.names import record_key
from churn_assets.store.reference import ARTIFACTS, by_version
from churn_assets.store.signatures import UNSIGNED, role_of


def sign_store(store: ArtifactStore, *, vouch: bool) -> tuple[int, list[str]]:
    """Sign every manifest, gate report, channel record and act with the keys of this machine; resumable.

    What no key signs whose role this machine has no private key of is left to who has it.

    Args:
        store: The store, with the policy to sign for.
        vouch: Sign what has no trusted signature as well, once its bytes verify: whoever asks for it vouches for it.

    Returns:
        How many objects were signed, and what was not, one line each.

    Raises:
        InvalidSetting: No private key is given, or one that is not trusted.
    """
    signatures, backend = store.signatures, store.backend
    mine = signatures.own_roles()
    signed, refused = 0, []
    for key, problem in _sound(ArtifactStore(backend, store.cache, UNSIGNED, store.seen)):
        if role_of(key) not in mine:
            continue
        if problem:
            refused.append(problem)
            continue
        data = backend.read(key)
        try:
            signatures.confirm(backend, key, data)
        except UnsignedContent as error:
            if not vouch:
                refused.append(str(error))
                continue
        signatures.sign(backend, key, data)
        signed += 1
    return signed, refused


def _sound(store: ArtifactStore) -> Iterator[tuple[str, str]]:
    """Every key that has to be signed, and what is wrong with what it holds; whoever signed it."""
    versions, _ = by_version(store.backend.list(ARTIFACTS))
    for ref, keys in versions.items():
        try:
            store.verify(ref)
            problem = ""
        except (ContentError, ObjectMissing) as error:
            problem = str(error)
        yield ref.manifest_key, problem
        for key in keys:
            if is_gate_report(ref, key):
                wrong = next(verify_gate_reports(store.backend, ref, [key], UNSIGNED), None)
                yield key, "" if wrong is None else str(wrong)
            elif is_record(ref, key):
                yield key, problem  # the files were verified by it
    for key in store.backend.list(ERASURES):
        if is_certificate(key):
            yield key, ""
    for name in log_names(store):
        try:
            length = len(open_log(store, name).history())
        except ContentError as error:
            yield record_key(name, 1), str(error)
            continue
        for seq in range(1, length + 1):
            yield record_key(name, seq), ""
