"""Inference engines that read ONNX: each a function (network, picture, threads, precision) that returns what is to be timed."""
import os
import tempfile

import torch


def exported(net, photo, folder):
    path = os.path.join(folder, "network.onnx")
    with torch.no_grad():
        torch.onnx.export(net, (photo,), path, dynamo=False, training=torch.onnx.TrainingMode.PRESERVE, opset_version=18)
    return path


def onnxruntime(net, photo, threads, precision):
    import onnxruntime as ort
    if precision != "fp32":
        raise NotImplementedError("has no other precision on a processor")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    with tempfile.TemporaryDirectory() as folder:
        session = ort.InferenceSession(exported(net, photo, folder), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: photo.numpy()}
    return lambda: session.run(None, feed)


def openvino(net, photo, threads, precision):
    import openvino as ov
    hints = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
             "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision]}
    with tempfile.TemporaryDirectory() as folder:
        request = ov.Core().compile_model(exported(net, photo, folder), "CPU", hints).create_infer_request()
    request.set_input_tensor(0, ov.Tensor(photo.numpy()))
    return request.infer


RUNTIMES = {"onnxruntime": onnxruntime, "openvino": openvino}
