"""Evaluate a segmentor of MMSegmentation: see docs/mmsegmentation.md."""

from im_bench.tools.commands import main, run_test

if __name__ == "__main__":
    main(run_test)
