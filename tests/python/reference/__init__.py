"""What sentence-transformers computes, written a second time in plain NumPy: the truth that the tests hold oxembed to.

It shares no code with oxembed and imports neither oxembed, torch nor transformers. One text at a time, without padding,
in float64, so that it is short and can be checked by reading it beside the sources that its docstrings name:
transformers 5.23 and sentence-transformers 6.2. Speed is no aim.

- ``sentence_transformer.SentenceTransformer(folder).encode(texts)`` runs a model folder;
- ``factory.make_model(folder, family, seed=...)`` writes a model folder with random weights;
- ``golden`` lists factory models; ``golden_factory.npz`` has their vectors by the real sentence-transformers.
"""
