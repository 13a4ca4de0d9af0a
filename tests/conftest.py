"""Array shapes and types of both packages are checked in every test."""

from jaxtyping import install_import_hook

install_import_hook(["binding", "sweep"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
