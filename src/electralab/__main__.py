"""`python -m electralab`."""

import sys

from electralab.cli import main

sys.exit(main())
