"""What surviving, watching and tracking cost: their seconds inside one pocket run, as a share of it.

Runs one iteration of `configs/pocket.yaml` in this process, with a clock around everything that writes a
checkpoint, an artifact or the journal, computes health figures, asks blind questions or sends to a tracker:

    python benchmarks/overhead.py --images runs/demo-images

The clocks nest: what one span holds is not counted again in the one around it.
"""

import transformers

import visplay.alarms
import visplay.checkpoints
import visplay.grpo
import visplay.health
import visplay.phases
import visplay.run
import visplay.tracking

FUNCTIONS = {
    "journal and artifacts": [
        (visplay.run, "write_text"), (visplay.run, "append_jsonl"), (visplay.run, "digests"),
        (visplay.table, "write_table"), (visplay.checkpoints, "keep_adapter"),
    ],
    "health": [
        (visplay.health, "question_health"), (visplay.alarms, "iteration_figures"),
        (visplay.alarms, "best_iteration"), (visplay.phases, "probe_blind_answers"),
    ],
}  # fmt: skip
METHODS = {
    "journal and artifacts": [
        (visplay.run.Run, "collect_metrics"), (visplay.run.Run, "has"), (visplay.run.Run, "opened"),
    ],
    "checkpoints inside phases": [(transformers.Trainer, "_save_checkpoint")],
    "tracking": [(visplay.tracking.Tracker, "log_step"), (visplay.tracking.Tracker, "log_rows")],
}  # fmt: skip
