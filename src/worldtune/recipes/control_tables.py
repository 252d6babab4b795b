"""The experiments of Transfer1, as tables. Edit as needed.

This file stands twice, word for word. In the package it is the default. In the repository, at
cosmos_transfer1/diffusion/config/training/experiment/ctrl_7b_tp_sample_av.py, it is what
counts for every command that is started from the repository's root.

It is read and not run: dicts, lists, texts, numbers, arithmetic, and names assigned above.
An experiment is made of one row of each table:

    CTRL_7Bv1pt3_t2w_121frames_control_input_lidar_block3_pretrain
         size    form frames                 control       stage

Its settings are EVERY, then those of its form, stage, size and control, later ones over earlier
ones; `worldtune show EXPERIMENT` prints what comes of it. In a text, {word} is replaced by one
of the row's words: size, form, frames, latent_frames, control, stage, name, pretrain (the name
that has the stage pretrain), and the `words` of the rows. ${key} is the value of another
setting. `groups` are choices of options, like hint_key=control_input_lidar.
"""

NAME = "CTRL_{size}_{form}_{frames}frames_control_input_{control}_block3_{stage}"

# Own experiments: "my_lidar": {"like": "CTRL_...", "settings": {"trainer": {"max_iter": 500}}}.
EXPERIMENTS = {}

# ---- What steers: a new control is one row here ------------------------------------------
# Its videos are in <dataset_dir>/<name>/. `forms` and `sizes` are those it is trained in.

AV_FORMS = ["t2w", "t2w_sv2mv", "v2w_sv2mv"]

CONTROLS = {
    "hdmap": {"about": "HD map", "forms": AV_FORMS, "sizes": ["7Bv1pt3", "tiny"]},
    "lidar": {"about": "LiDAR", "forms": AV_FORMS, "sizes": ["7Bv1pt3", "tiny"]},
    "edge": {"about": "edges", "forms": ["lvg_tp"], "sizes": ["7Bv1pt3", "tiny"]},
    "vis": {"about": "a blurred clip", "forms": ["lvg_tp"], "sizes": ["7Bv1pt3"]},
    "depth": {"about": "depth", "forms": ["lvg_tp"], "sizes": ["7Bv1pt3"]},
    "seg": {"about": "segments", "forms": ["lvg_tp"], "sizes": ["7Bv1pt3"]},
    "keypoint": {"about": "keypoints", "forms": ["lvg_tp"], "sizes": ["7Bv1pt3"]},
    "upscale": {
        "about": "a small clip",
        "forms": ["lvg_tp"],
        "sizes": ["7Bv1pt3"],
        "words": {"weights": "4kupscaler"},
    },
}

# ---- What all experiments have -----------------------------------------------------------

EVERY = {
    "groups": {
        "net": "faditv2_7b",
        "net_ctrl": "faditv2_7b",
        "tokenizer": "cosmos_diffusion_tokenizer_res720_comp8x8x8_t121_ver092624",
        "hint_key": "control_input_{control}",
        "callbacks": "basic",
        "checkpoint": "local",
        "ckpt_klass": "fast_tp",
        "data_train": "example_transfer_train_data_control_input_{control}",
        "data_val": "example_transfer_val_data_control_input_{control}",
    },
    "settings": {
        "job": {"project": "cosmos_transfer1_{stage}", "group": "{group}", "name": "{name}"},
        "trainer": {
            "distributed_parallelism": "ddp",
            "max_iter": 999_999_999,
            "logging_iter": 200,
            "callbacks": {"iter_speed": {"hit_thres": 5}},
        },
        "model_parallel": {"tensor_model_parallel_size": 8, "sequence_parallel": True},
        "checkpoint": {"save_iter": 1000},
        "optimizer": {"lr": 2**-14.3, "weight_decay": 0.1, "betas": [0.9, 0.99], "eps": 1e-10},
        "model": {
            "latent_shape": [16, "{latent_frames}", 88, 160],
            "loss_reduce": "mean",
            "adjust_video_noise": True,
            "base_load_from": {"load_path": "{base_weights}"},
            "tokenizer": {"pixel_chunk_duration": "${dataloader_train.dataset.num_frames}"},
            "net": {
                "extra_per_block_abs_pos_emb": True,
                # As the published bases were trained; the published experiments for one camera
                # of a car and for several leave it at 1.
                "rope_t_extrapolation_ratio": 2,
            },
            "net_ctrl": {
                "num_control_blocks": 3,
                "hint_channels": 16,
                "extra_per_block_abs_pos_emb": True,
                "rope_t_extrapolation_ratio": 1,
            },
            "conditioner": {
                "video_cond_bool": {
                    "condition_location": "first_random_n",
                    "first_random_n_num_condition_t_max": 0,
                    "dropout_rate": 0.0,
                    "apply_corruption_to_condition_region": "noise_with_sigma",
                    "augment_sigma_sample_p_mean": -3.0,
                    "augment_sigma_sample_p_std": 2.0,
                    "augment_sigma_sample_multiplier": 1.0,
                },
            },
        },
        "dataloader_train": {"dataset": {"dataset_dir": "{train_dir}", "num_frames": "{frames}"}},
        "dataloader_val": {
            "dataset": {
                "dataset_dir": "{val_dir}",
                "num_frames": "${dataloader_train.dataset.num_frames}",
            },
        },
    },
}

# ---- Forms: what is generated, and from what ---------------------------------------------

FRONT = {"dataset": {"view_keys": ["pinhole_front"]}}

ONE_CAMERA = {
    "model": {"net": {"in_channels": 16}, "net_ctrl": {"in_channels": 16}},
    "dataloader_train": FRONT,
    "dataloader_val": FRONT,
}

VIEWS = {
    "dataset": {
        "view_keys": [
            "pinhole_front",
            "pinhole_front_left",
            "pinhole_front_right",
            "pinhole_side_left",
            "pinhole_side_right",
        ],
        "sample_n_views": "${model.n_views}",
        "caption_view_idx_map": {0: 0, 1: 1, 2: 2, 3: 4, 4: 5},
    },
}

SEVERAL_CAMERAS = {
    "model": {
        "n_views": 3,
        "net": {
            "in_channels": 17,
            "n_views": "${model.n_views}",
            "n_views_emb": 7,
            "view_condition_dim": 6,
            "add_repeat_frame_embedding": True,
        },
        "net_ctrl": {
            "in_channels": 16,
            "is_extend_model": True,
            "n_views": "${model.n_views}",
            "n_views_emb": 7,
            "view_condition_dim": 6,
            "add_repeat_frame_embedding": True,
        },
    },
    "dataloader_train": VIEWS,
    "dataloader_val": VIEWS,
}

FORMS = {
    "t2w": {
        "about": "one camera",
        "frames": [57, 121],
        "words": {
            "group": "CTRL_{version}_sampleAV",
            "repository": "nvidia/Cosmos-Transfer1-7B-Sample-AV",
            "part": "",
            "data": "datasets/waymo_transfer1/",
            "scenes": "datasets/driving_scenes",
        },
        "settings": ONE_CAMERA,
    },
    "t2w_sv2mv": {
        "about": "several cameras from the front one",
        "frames": [57],
        "words": {
            "group": "CTRL_{version}_sampleAV",
            "repository": "nvidia/Cosmos-Transfer1-7B-Sample-AV-Single2MultiView",
            "part": "t2w_",
            "data": "datasets/waymo_transfer/",
            "scenes": "datasets/driving_scenes",
        },
        "groups": {"net_ctrl": "faditv2_sv2mv"},
        "settings": [
            SEVERAL_CAMERAS,
            {"model": {"conditioner": {"video_cond_bool": {"condition_location": "first_cam"}}}},
        ],
    },
    "v2w_sv2mv": {
        "about": "several cameras from the front one and their first frames",
        "frames": [57],
        "words": {
            "group": "CTRL_{version}_sampleAV",
            "repository": "nvidia/Cosmos-Transfer1-7B-Sample-AV-Single2MultiView",
            "part": "v2w_",
            "data": "datasets/waymo_transfer/",
            "scenes": "datasets/driving_scenes",
        },
        "groups": {"net_ctrl": "faditv2_sv2mv"},
        "settings": [
            SEVERAL_CAMERAS,
            {
                "model": {
                    "conditioner": {
                        "video_cond_bool": {
                            "condition_location": "first_cam_and_random_n",
                            "first_random_n_num_condition_t_max": 2,
                        },
                    },
                },
            },
        ],
    },
    "lvg_tp": {
        "about": "a clip from its first frames",
        "frames": [121],
        "words": {
            "group": "CTRL_{version}_lvg",
            "repository": "nvidia/Cosmos-Transfer1-7B",
            "part": "",
            "data": "datasets/hdvila",
            "scenes": "datasets/scenes",
        },
        "settings": {
            "model": {
                "net": {"in_channels": 17},
                "net_ctrl": {"in_channels": 17, "hint_channels": 128},
                "conditioner": {"video_cond_bool": {"first_random_n_num_condition_t_max": 2}},
            },
            "scheduler": {"warm_up_steps": [2500]},
        },
    },
}

# ---- Stages: where the branch starts -----------------------------------------------------
# Either way the base is a published one that stays as it is.

STAGES = {
    "pretrain": {
        "about": "a fresh branch",
        "settings": {"checkpoint": {"load_path": ""}},
    },
    "posttrain": {
        "about": "a branch that was trained",
        "settings": {"checkpoint": {"load_path": "{branch_weights}"}},
    },
}

# ---- Sizes: the published one, and one that a CPU trains in minutes ----------------------

TINY_CLIPS = {
    "dataset": {"video_size": [128, 224]},
    "num_workers": 1,
    "pin_memory": False,
}

SIZES = {
    "7Bv1pt3": {
        "about": "7B",
        "frames_per_latent": 8,
        "words": {
            "version": "7Bv1",
            "train_dir": "{data}",
            "val_dir": "{data}",
            "base_weights": (
                "${checkpoint.weights_dir}/{repository}/checkpoints_tp/"
                "{part}base_model_model_mp_*.pt"
            ),
            "branch_weights": (
                "${checkpoint.weights_dir}/{repository}/checkpoints_tp/{part}{weights}_control.pt"
            ),
        },
    },
    "tiny": {
        "about": "Tiny",
        "frames": [17],
        "frames_per_latent": 4,
        "words": {
            "version": "tiny",
            "train_dir": "{scenes}/train",
            "val_dir": "{scenes}/val",
            "base_weights": "",
            # What the experiment of the other stage has saved.
            "branch_weights": "checkpoints/cosmos_transfer1_pretrain/{group}/{pretrain}",
        },
        "groups": {
            "net": "tiny_fa",
            "net_ctrl": "tiny_fa",
            "tokenizer": "builtin",
            "ckpt_klass": "multi_rank",
        },
        "settings": {
            "trainer": {
                "max_iter": 300,
                "logging_iter": 10,
                "callbacks": {"iter_speed": {"hit_thres": None}},
                "run_validation": True,
                "validation_iter": 50,
                "max_val_iter": 4,
            },
            "model_parallel": {"tensor_model_parallel_size": 1, "sequence_parallel": False},
            "checkpoint": {"save_iter": 100},
            "optimizer": {"lr": 2e-3},
            "scheduler": {"warm_up_steps": [20]},
            "model": {
                "fresh_weights": True,
                "precision": "float32",
                "latent_shape": [16, "{latent_frames}", 16, 28],
                "text_encoder": {"cls": "builtin"},
                "net": {"crossattn_emb_channels": 128, "rope_t_extrapolation_ratio": 1},
                "net_ctrl": {"crossattn_emb_channels": 128},
            },
            "dataloader_train": TINY_CLIPS,
            "dataloader_val": TINY_CLIPS,
        },
    },
}
