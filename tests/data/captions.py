"""Fifty captions of traffic, each with one word changed and beside another caption."""

_COLOURS = ("red", "blue", "white", "silver", "black", "yellow", "green", "grey", "orange", "brown")
_THINGS = ("car", "bus", "lorry", "van", "cyclist")
_PLACES = (
    "on a wet road at night",
    "through a wide junction",
    "across a narrow bridge",
    "along the motorway in fog",
    "past a row of parked cars",
)
_DOINGS = ("drives slowly", "turns left", "brakes hard", "stops", "skids", "waits", "overtakes")

CAPTIONS = [
    f"A {_COLOURS[i % 10]} {_THINGS[(i * 3) % 5]} {_DOINGS[(i * 5) % 7]} {_PLACES[(i // 2) % 5]}."
    for i in range(50)
]
# The colour is always the second word.
ONE_WORD_CHANGED = [
    " ".join([word if n != 1 else "purple" for n, word in enumerate(caption.split())])
    for caption in CAPTIONS
]
