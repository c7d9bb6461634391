"""Which checks every member of a release needs: read from the code that runs, never from the store."""

from churn_assets.customers.checks import CUSTOMERS
from churn_assets.decision.checks import PPO_DECISION
from churn_assets.message.checks import MESSAGES, PPO_TEXT, PREFERENCES, REWARD_MODEL, SFT_MODEL
from churn_assets.offers.checks import OFFER_LOG
from churn_assets.release.evidence import Required
from churn_assets.response.checks import ACCEPT_MODEL, EFFECT_MODEL
from churn_assets.risk.checks import RISK_MODEL

MEMBER_CHECKS: Required = {
    "customers": CUSTOMERS,
    "offer_log": OFFER_LOG,
    "risk_model": RISK_MODEL,
    "accept_model": ACCEPT_MODEL,
    "effect_model": EFFECT_MODEL,
    "ppo_decision": PPO_DECISION,
    "messages": MESSAGES,
    "preferences": PREFERENCES,
    "sft_model": SFT_MODEL,
    "reward_model": REWARD_MODEL,
    "ppo_text": PPO_TEXT,
}
