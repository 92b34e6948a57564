"""U2PL: the recordings ``u2pl__*``."""

from __future__ import annotations

import numpy as np
import torch

from im_bench.data.label_spaces import IGNORED
from im_bench.methods.u2pl import U2PL, mixed
from im_bench.semi import contrast, losses, reliability
from im_bench.semi.ema import update_average
from im_bench.semi.memory_bank import MemoryBank
from im_bench.semi.pseudo_label import PseudoLabel
from im_bench.semi.step import Clock

from .compare import Adapter, Outputs, Recording, Tolerance


def augment(recording: Recording) -> Outputs:
    given = tensors(recording)
    valid = torch.ones_like(given["in_target"], dtype=torch.bool)
    label = PseudoLabel(given["in_target"], given["in_conf"], valid, valid)
    outputs = {}
    for mix in ("cutout", "cutmix", "classmix"):
        images, made = mixed(given["in_data"], label, given[f"{mix}_in_mask"] == 0, mix)
        outputs |= {
            f"{mix}_out_data": images,
            f"{mix}_out_target": made.label.where(made.kept, IGNORED),
            f"{mix}_out_conf": made.confidence,
        }
    return outputs


def contra_loss(recording: Recording) -> Outputs:
    outputs = {}
    for prefix in ("all_", "absent_", "few_", "official_"):
        case = {k.removeprefix(prefix): v for k, v in recording.items() if k.startswith(prefix)}
        outputs |= {f"{prefix}{name}": value for name, value in contrast_case(case).items()}
    return outputs


def contrast_case(recording: Recording) -> Outputs:
    given = tensors(recording)
    lengths, capacity = given["in_bank_len"], recording["in_queue_size"].tolist()
    bank = MemoryBank(capacity, given["in_bank"].shape[1])
    bank.enqueue(given["in_bank"], torch.arange(len(lengths)).repeat_interleave(lengths))

    low_rank, high_rank = recording["in_low_high_rank"].tolist()
    candidates = contrast.find_candidates(
        torch.cat([given["in_onehot_l"], given["in_onehot_u"]]).bool(),
        torch.cat([given["in_prob_l"], given["in_prob_u"]]),
        given["in_low_mask"].squeeze(1).bool(),
        given["in_high_mask"].squeeze(1).bool(),
        len(given["in_onehot_l"]),
        contrast.CandidateRules(low_rank=low_rank, high_rank=high_rank),
    )
    features = given["in_rep"].requires_grad_()
    keys = contrast.by_pixel(given["in_rep_teacher"])
    bank.enqueue(*contrast.keys(keys, candidates.negatives))

    recorded = iter((given["in_anchor_idx"], given["in_negative_idx"]))

    def draw(counts: torch.Tensor, number: int) -> torch.Tensor:
        # The recording numbers the classes that it draws for, without those that it skips.
        row = ((counts > 0).cumsum(0) - 1).clamp(min=0)
        drawn = next(recorded)[row]
        assert drawn.shape[1] == number
        return drawn.where((counts > 0).unsqueeze(1), 0)

    queries, negatives = recording["in_num_queries_negatives"].tolist()
    loss = contrast.contrastive_loss(
        contrast.by_pixel(features), keys, candidates, bank, draw, queries, negatives
    )
    (gradient,) = torch.autograd.grad(loss, features)
    after = bank.length
    rows = [
        bank.read(torch.tensor([each]), torch.arange(int(count))[None])[0]
        for each, count in enumerate(after)
    ]
    return {
        "out_loss": loss.detach(),
        "out_grad_rep": gradient,
        "out_new_keys": candidates.negatives.sum(1),
        "out_bank_len": after,
        "out_queue_ptr": after,  # where the original stands, which moves rows when a queue is full
        "out_bank": torch.cat(rows),
    }


def contra_masks(recording: Recording) -> Outputs:
    given = tensors(recording)
    truth, label, logits = (
        given[f"in_{name}"] for name in ("label_l", "label_u", "teacher_u_small")
    )
    classes, grid = logits.shape[1], logits.shape[-2:]
    logits = torch.nn.functional.interpolate(
        logits, label.shape[-2:], mode="bilinear", align_corners=True
    )
    entropy = reliability.entropy(logits)
    small = [reliability.nearest(each, grid) for each in (truth, label)]
    outputs = {
        "out_label_l_small": contrast.one_hot(small[0], classes, first_image=1),
        "out_label_u_small": contrast.one_hot(small[1], classes, first_image=1),
        "out_onehot_full_l": contrast.one_hot(truth, classes, first_image=1),
        "out_onehot_single": contrast.one_hot(truth[:1], classes),
    }
    for prefix in sorted(name.removesuffix("in_epoch") for name in given if "in_epoch" in name):
        percents = U2PL().percents(Clock(int(recording[f"{prefix}in_epoch"]), 80))
        _, low, high = reliability.masked_percentiles(entropy, label != IGNORED, percents)
        masks = reliability.reliability_masks(
            *small,
            reliability.nearest(entropy, grid),
            low,
            high,
            bool(recording[f"{prefix}in_negative_high_entropy"]),
        )
        outputs |= {
            f"{prefix}out_low_thresh": low,
            f"{prefix}out_high_thresh": high,
            f"{prefix}out_low_mask": masks.low.unsqueeze(1),
            f"{prefix}out_high_mask": masks.high.unsqueeze(1),
        }
    return outputs


def criterion(recording: Recording) -> Outputs:
    given = tensors(recording)
    target = given["in_target"]
    outputs = {}
    for name in (each for each in recording if "_in_type" in each):
        prefix = name.partition("in_")[0]
        is_ohem, threshold, min_kept, weighted, aux_weight = recording[name].tolist()
        logits, auxiliary = (given[f"in_{each}"].detach().clone() for each in ("pred", "aux"))
        logits.requires_grad_()
        options = {"threshold": threshold, "min_kept": int(min_kept)} if is_ohem else PLAIN
        weight = given["param_ohem_class_weight"] if weighted and is_ohem else None
        loss = losses.ohem(logits, target, **options, class_weight=weight)
        if weighted and not is_ohem and aux_weight:
            rare = torch.zeros(logits.shape[1])
            rare[RARE_CLASSES] = 1
            loss = loss + losses.ohem(logits, target, **PLAIN, class_weight=rare)
        (main_gradient,) = torch.autograd.grad(loss, logits, retain_graph=True)
        total = loss + aux_weight * losses.ohem(auxiliary, target, **options)
        outputs |= {
            f"{prefix}out_loss": total.detach(),
            f"{prefix}out_nonzero": (main_gradient != 0).any(1),
            f"{prefix}out_grad": main_gradient,
        }
    return outputs


def ema(recording: Recording) -> Outputs:
    method = U2PL(supervised_epochs=int(recording["in_sup_only_epoch"]), copy_first_epoch=False)
    length = int(recording["in_len_loader"])
    teacher, student = (torch.nn.ParameterList([torch.zeros(6)]) for _ in range(2))
    teacher[0].data = torch.from_numpy(recording["in_teacher0"].astype(np.float32))
    teachers, decays = [], []
    for (epoch, step), parameters in zip(
        recording["in_epoch_step"], recording["in_student"], strict=True
    ):
        student[0].data = torch.from_numpy(parameters)
        decay = method.ema_decay(Clock(int(epoch * length + step), 10**6, length))
        if decay is not None:
            update_average(teacher, student, decay, method.ema_buffers)
        decays.append(-1 if decay is None else decay)
        teachers.append(teacher[0].detach().clone())
    return {"out_teacher": torch.stack(teachers), "out_decay": decays}


def percent_schedule(recording: Recording) -> Outputs:
    clocks = [
        Clock(int(epoch), int(recording["in_epochs_total"])) for epoch in recording["in_epoch"]
    ]
    return {
        "out_drop_percent": [
            [U2PL(drop_percent=base).percents(clock).drop for clock in clocks]
            for base in recording["in_base_percent"]
        ],
        "out_alpha_t": [U2PL().percents(clock).low for clock in clocks],
    }


def rce_loss(recording: Recording) -> Outputs:
    given = tensors(recording)
    logits = given["in_pred"].requires_grad_()
    loss = losses.reverse_cross_entropy(logits, given["in_target"])
    return {"out_loss": loss.detach(), "out_grad": torch.autograd.grad(loss, logits)[0]}


def unsup_loss(recording: Recording) -> Outputs:
    given = tensors(recording)
    target, logits = given["in_target"], given["in_pred"].requires_grad_()
    entropy = reliability.entropy(given["in_teacher"])
    percents = recording["in_percent"].tolist()
    thresholds = reliability.masked_percentiles(entropy, target != IGNORED, percents)
    outputs = {}
    for index, threshold in enumerate(thresholds):
        kept = reliability.without_unreliable(target, entropy, threshold)
        loss = reliability.unlabelled_loss(logits, kept)
        outputs |= {
            f"p{index}_out_thresh": threshold,
            f"p{index}_out_target": kept,
            f"p{index}_out_loss": loss.detach(),
            f"p{index}_out_grad": torch.autograd.grad(loss, logits)[0],
        }
    return outputs


def tensors(recording: Recording) -> dict[str, torch.Tensor]:
    """Return the numeric arrays of a recording as tensors."""
    return {
        name: torch.from_numpy(np.asarray(value))
        for name, value in recording.items()
        if ("in_" in name or "param_" in name) and value.dtype.kind != "U"
    }


PLAIN = {"threshold": 1.0, "min_kept": 0}  # mines nothing: the cross-entropy
RARE_CLASSES = [3, 4, 5, 6, 9, 12, 14, 16, 17, 18]
TOLERANCES: dict[str, Tolerance] = {}
ADAPTERS: dict[str, Adapter] = {
    "u2pl__augment": augment,
    "u2pl__contra_loss": contra_loss,
    "u2pl__contra_masks": contra_masks,
    "u2pl__criterion": criterion,
    "u2pl__ema": ema,
    "u2pl__percent_schedule": percent_schedule,
    "u2pl__rce_loss": rce_loss,
    "u2pl__unsup_loss": unsup_loss,
}
