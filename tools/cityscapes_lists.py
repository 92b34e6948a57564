"""Write the lists of labelled and unlabelled Cityscapes images: see docs/mmsegmentation.md."""

from im_bench.tools.commands import main
from im_bench.tools.lists import write_lists

if __name__ == "__main__":
    main(write_lists)
