"""What surrounds a training; none of it makes Python wait for the device in every step."""

default_scope = "mmseg"
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
randomness = dict(seed=0)
log_level = "INFO"
log_processor = dict(by_epoch=False)
load_from = None
resume = False
log_interval = 50
default_hooks = dict(
    runtime_info=dict(type="DeferredRuntimeInfoHook", interval=log_interval),
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=log_interval, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(
        type="CheckpointHook",
        by_epoch=False,
        interval=1000,
        max_keep_ckpts=2,  # the older one goes before the newer one is whole
        save_best="mIoU",
        rule="greater",
    ),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    semi_supervised=dict(type="SemiSupervisedHook"),
    visualization=dict(type="SegVisualizationHook"),
)
visualizer = dict(type="SegLocalVisualizer", vis_backends=[dict(type="LocalVisBackend")])
