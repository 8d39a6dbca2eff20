"""`python -m pipelines.cli`, the same as `clipdata`."""

import sys

from pipelines.cli.app import main

sys.exit(main())
