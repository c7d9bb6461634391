"""Every error the store raises, each named after what went wrong. No other module defines one."""

# ruff: noqa: N818 - what happened reads better than a row of "…Error"


class StoreError(Exception):
    """Base of all store errors."""


class InvalidName(StoreError, ValueError):
    """A name or path that could leave its place in the store, or that no backend could hold."""


class UnsupportedLocation(StoreError):
    """A store URI that no backend serves."""


class InvalidSetting(StoreError, ValueError):
    """An environment variable of the store that does not say what it should."""


class StoreUnreachable(StoreError):
    """The storage did not answer in time, or said that it cannot now. What it was asked for may be done or not."""


class AccessDenied(StoreError):
    """No credentials, or none that may do what was asked."""


class DatabaseUnreachable(StoreUnreachable):
    """A database that an experiment reads, or writes its results to, did not answer or broke off."""


class DatabaseRefused(AccessDenied):
    """Such a database knows no such user or password, or does not let them do what was asked."""


class BucketMissing(StoreError):
    """The bucket of a store URI does not exist."""


class RequestRefused(StoreError):
    """A request that the storage answered with a refusal of its own, such as a checksum that does not match."""


class ObjectExists(StoreError):
    """A create-only write found an object under its key."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"{self.key}: already exists, and objects of the store are never overwritten"


class ObjectMissing(StoreError):
    """A key under which nothing is stored."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"{self.key}: no such object in the store"


class ContentError(StoreError):
    """Stored content that is not what it claims to be.

    Attributes:
        file: File or key that was read.
        found: What it holds.
        expected: What it should hold.
        subject: Artifact or channel it belongs to; empty where a file is read outside the store.
    """

    def __init__(self, file: str, found: str, expected: str, subject: str = "") -> None:
        super().__init__(file, found, expected, subject)
        self.file = file
        self.found = found
        self.expected = expected
        self.subject = subject

    def __str__(self) -> str:
        place = f"{self.subject}: {self.file}" if self.subject else self.file
        return f"{place}: found {self.found}, expected {self.expected}"

    def about(self, subject: str) -> "ContentError":
        """The same error, naming the artifact or channel that the file belongs to."""
        return type(self)(self.file, self.found, self.expected, subject)


class CorruptArtifact(ContentError):
    """Bytes that differ from what was published, or that cannot be parsed."""


class IncompatibleArtifact(ContentError):
    """Sound content that this code cannot read: a newer schema, or another loader."""

    def __str__(self) -> str:
        return (
            f"{super().__str__()}: another version of churn-assets wrote it. "
            "Make it again with `churn run`, or read it with the version that wrote it"
        )


class UntrustedContent(ContentError):
    """Content that could run code or crash the process; nothing of it was constructed or handed over."""


class UnsignedContent(ContentError):
    """Stored content that nobody signed whose key is trusted with it."""


class RecordsLost(ContentError):
    """A channel that is shorter than it was, or went another way: its newest records are gone."""


class GoldenMismatch(ContentError):
    """A model that, read back, no longer answers its golden rows as recorded."""


class InputChanged(ContentError):
    """A file that an experiment reads was replaced while it was read; what was read is no one's content."""


BROKEN = (ContentError, ObjectMissing)
"""What says of a stored version that it is broken; other errors say that the store could not be asked."""


class PublishConflict(StoreError):
    """A version that is already committed with another origin."""


class ChannelConflict(StoreError):
    """The channel moved between the reader's decision and its write; decide again on the new head."""


class PromotionRefused(StoreError):
    """A promotion or rollback that the channel's rules forbid."""
