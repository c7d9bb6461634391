"""Response to an offer: who accepts it (`accept_model`) and what contact does to churn (`effect_model`)."""
