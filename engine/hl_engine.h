/* The engine, as the layers above see it (beside engine/base, which everybody may include). */
#ifndef HL_ENGINE_H
#define HL_ENGINE_H

#include "engine/ckpt/checkpoint.h"
#include "engine/ckpt/new_dir.h"
#include "engine/ckpt/safetensors.h"
#include "engine/ckpt/weights.h"
#include "engine/exec/device.h"
#include "engine/exec/program.h"
#include "engine/exec/storage.h"
#include "engine/graph/body.h"
#include "engine/graph/build.h"
#include "engine/graph/graph.h"
#include "engine/ops/op.h"
#include "engine/optim/loss_scale.h"
#include "engine/optim/schedule.h"
#include "engine/optim/train_graph.h"
#include "engine/pass/pass.h"
#include "engine/probe/outliers.h"
#include "engine/probe/trajectory.h"
#include "engine/quant/model.h"
#include "engine/quant/saved.h"
#include "engine/solve/knob.h"

#endif
