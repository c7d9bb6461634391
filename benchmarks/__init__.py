"""Performance and quality bars, one module each; figures that are held to nothing live in the docs."""

import os

# Read once, when numpy and scikit-learn load their libraries: with two threads on a busy machine boosting is many
# times slower. Set here because this runs before anything that a benchmark imports.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
