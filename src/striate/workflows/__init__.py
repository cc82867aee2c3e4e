"""One verb per file: each calls the stages in order and owns no numerics."""
