"""What sentence-transformers computes, written a second time in plain NumPy: the truth that the tests hold oxembed to.

It shares no code with oxembed and imports neither oxembed, torch nor transformers. One text at a time, without padding,
in float64, so that it is short and can be checked by reading it beside the sources that its docstrings name:
transformers 5.23 and sentence-transformers 6.2. Speed is no aim.

- ``sentence_transformer.SentenceTransformer(folder).encode(texts)`` runs a model folder. Large files are mapped, of the
  table of words only the tokens' rows are read, and one tensor is converted at a time: a model with the width and the
  vocabulary of a real one and few layers needs little memory. ``SentenceTransformer(folder, np.float32)`` is quicker;
- ``factory.make_model(folder, family, seed=...)`` writes a model folder with random weights;
- ``golden`` lists factory models; ``golden_*.npz`` have their vectors by the real sentence-transformers;
- ``rotary_draws`` draws factory models with settings at random.
"""
