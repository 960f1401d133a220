"""Video files: what is in them, whole or block by block, and writing them whole or not at all.

    .mp4 .mov .mkv .webm .avi   FFmpeg's libraries (PyAV); avi and m4v are only read
    .gif .apng .png .webp       animated pictures (Pillow); stills of these, .jpg and .bmp are read as one frame
    .npz                        frames uint8 (T, H, W, 3), fps, and where there is sound audio (channels, n) and rate
    a folder                    00000.png and on, clip.json with the frame rate, sound.wav

**What survives.** In npz, PNG, WebP without quality, folders and mkv with codec="ffv1" every value and the frame rate do;
in GIF, frames of up to 256 colours. The other codecs are lossy and store colour at half the resolution (4:2:0, BT.709,
limited range), so they need even sides: other clips are padded by repeating their edge, :func:`write` says so, and the
size in the file's comment lets langevin crop them back; other readers show the padding. The comment has the frame rate,
too, which containers and GIF round.

**Sound** is AAC in mp4 and mov, Opus of 48 kHz in webm, FLAC of 24 bits in mkv, floats in npz and folders; it is as long as
the frames, cut or silent at its end. Animated pictures hold none.

**Time.** Frames that are not shown equally long are brought to one rate, that of the commonest duration, and that is said.

Files may come from strangers: what a header claims is bounded before memory is taken, no file opens another, nothing is
unpickled, and whatever is wrong is a :class:`VideoError` that names the file.
"""

from langevin.modalities.video.reading import EXTENSIONS, Info, Reader, VideoError, info, read
from langevin.modalities.video.writing import LOSSLESS, WRITTEN, PieceWriter, write

__all__ = [
    "EXTENSIONS",
    "LOSSLESS",
    "WRITTEN",
    "Info",
    "PieceWriter",
    "Reader",
    "VideoError",
    "info",
    "read",
    "write",
]
