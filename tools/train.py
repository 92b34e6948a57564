"""Train a segmentor of MMSegmentation, semi-supervised or not: see docs/mmsegmentation.md."""

from im_bench.tools.commands import main, run_training

if __name__ == "__main__":
    main(run_training)
