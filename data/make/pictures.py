"""Makes data/pictures: small pieces of public-domain pictures that scikit-image comes with, for data/make/autoQc.ts.

Run: pip install scikit-image pillow; python data/make/pictures.py
"""

from pathlib import Path

from PIL import Image
from skimage import data

OUT = Path(__file__).resolve().parent.parent / "pictures"
SIZE = 96
# name: shrunk by, then left and upper corner of the piece
PIECES = {
    "astronaut": [(3, 38, 0)],
    "brick": [(3, 20, 20)],
    "camera": [(3, 50, 20)],
    "chelsea": [(2, 60, 20), (2, 120, 50)],
    "coffee": [(3, 40, 10)],
    "coins": [(2, 90, 50)],
    "grass": [(3, 20, 20)],
    "gravel": [(3, 20, 20)],
    "rocket": [(3, 60, 40)],
}


def main():
    OUT.mkdir(exist_ok=True)
    for name, pieces in PIECES.items():
        whole = Image.fromarray(getattr(data, name)()).convert("RGB")
        for number, (factor, left, top) in enumerate(pieces):
            shrunk = whole.resize((whole.width // factor, whole.height // factor), Image.Resampling.LANCZOS)
            assert left + SIZE <= shrunk.width and top + SIZE <= shrunk.height, (name, shrunk.size)
            piece = shrunk.crop((left, top, left + SIZE, top + SIZE))
            piece.save(OUT / f"{name}-{number + 1}.png", optimize=True)


main()
