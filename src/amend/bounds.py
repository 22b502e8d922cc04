"""What a knob may be: types with a range, for constructors' signatures.

The configuration is checked against these annotations before anything heavy is imported, so this file knows typing alone.
"""

from __future__ import annotations

from typing import Annotated

Count = Annotated[int, ">= 1"]
Natural = Annotated[int, ">= 0"]
Positive = Annotated[float, "> 0"]
NonNegative = Annotated[float, ">= 0"]
Fraction = Annotated[float, "in [0, 1]"]
