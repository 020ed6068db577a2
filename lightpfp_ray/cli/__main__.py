"""`python -m lightpfp_ray.cli` is `lightpfp-ray`."""

from . import main

main()
