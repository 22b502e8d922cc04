"""The type checker of the tests: beartype, with an int allowed where a float is due (PEP 484's numeric tower)."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
