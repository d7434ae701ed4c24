"""shoal: what a Python function that runs as a task may ask and tell.

    import shoal

    def simulate(beta, seed):
        for day in range(365):
            if shoal.should_stop():
                break                        # what there is so far still counts
            shoal.progress(day / 365, f"day {day}")
        return {"attack_rate": ...}

Outside of a task these do nothing, so that the function can be called as any other.
"""
from .runner import Continue, checkpoint, log, progress, should_stop, task

__all__ = ["Continue", "checkpoint", "log", "progress", "should_stop", "task"]
