"""Jobs, schedules and sensors: thin shells over pure decisions that live in `churn_assets`."""
