"""The parts that a model is put together from: one trunk with its weights, of one kind each.

    protocol.py      what a part is
    tensors.py       files of weights, and putting them into a module without leaving any out
    open_clip.py     open_clip's own towers, also of another model
    timm.py          image towers from timm
    hugging_face.py  text encoders from transformers
    clip_format.py   CLIP as transformers writes it, and its names for tensors
    other_model.py   the tower of another model, whatever its format

A part knows nothing of the other tower, nor of what the whole becomes (assembling.py).
"""
