"""Performance and quality bars, one module each; figures that are held to nothing live in the docs."""

from resources.compute import limit_threads

limit_threads()  # here, because this runs before anything that a benchmark imports
