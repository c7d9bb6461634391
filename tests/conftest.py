"""What every test shares: one thread, as in training; competing threads make boosting many times slower."""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
