"""The registered models as folders: their repositories' own settings over random weights of their exact shapes.

- `repositories/<organization>__<name>.json` holds what a model's repository on the Hugging Face hub says: file names
  and their contents, of tokenizer_config.json only what decides something here. `unconfirmed` in models/registry.toml
  names what could not be compared with the repository;
- `shapes` has the tensors of each family, by the names that checkpoints use;
- `folders` writes a model folder with fewer layers and, where a table is large, only the rows that are used.
"""
