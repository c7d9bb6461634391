"""Churn risk: the probability that a customer leaves within the label window without being contacted."""
