"""From records to the sealed frames of one log: whoever writes them makes the same frames of the same records."""

from __future__ import annotations

from msgspec.structs import replace

from knowngood.core.log import LogRecord
from knowngood.core.model import Position
from knowngood.core.sizes import MIB
from knowngood.tree.log import LogDraft
from knowngood.vault.record import PlainSegment
from knowngood.vault.segment import LogSealer

FRAME_BYTES = 1 * MIB
FRAME_REFERENCES = 4096


class LogFramer:
    """Continues a chain of frames from a position on. Memory: the records of one frame; its frames wait in the sealer.

    `last` is the name of the last frame; `bytes` counts the payloads of the frames that were not taken yet.
    """

    def __init__(self, sealer: LogSealer, timeline: bytes, after: Position) -> None:
        self._sealer = sealer
        self._timeline = timeline
        self._draft = LogDraft(timeline, after.sequence)
        self._part: PlainSegment | None = None
        self.last = after.frame
        self.bytes = 0

    @property
    def end(self) -> int:
        """The number of the record that comes next."""
        return self._draft.end

    @property
    def full(self) -> bool:
        """Whether it is time to end the frame."""
        return self._draft.size >= FRAME_BYTES or self._draft.references >= FRAME_REFERENCES

    def add(self, record: LogRecord) -> None:
        """Take the next record. Raises Unsupported, and takes nothing, when it is none or does not come next."""
        self._draft.add(record)

    def end_frame(self) -> None:
        """Seal what was taken since the last frame."""
        draft, before = self._draft, self.last
        if not draft.count:
            return
        refs, payload = draft.finish(before)
        self.last = self._sealer.seal(refs, payload)
        part = self._part or PlainSegment(self._timeline, b"", draft.first, 0, before, before, 0)
        self._part = replace(
            part, count=part.count + draft.count, last=self.last, references=part.references + draft.references
        )
        self.bytes += len(payload)
        self._draft = LogDraft(self._timeline, draft.end)

    def take(self) -> PlainSegment | None:
        """What a commit has to say of the frames since the last time, but for the name of their pack."""
        part, self._part, self.bytes = self._part, None, 0
        return part
