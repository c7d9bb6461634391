"""Which checks every member of a release needs: read from the code that runs, never from the store."""

from churn_assets.flow.registry import registry
from churn_assets.release.evidence import Required

MEMBER_CHECKS: Required = {
    asset: registry()[asset].checks for members in registry().members.values() for asset in members
}
