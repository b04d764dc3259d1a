"""The layers of a network and what flows between them, as a graph that TensorBoard draws."""

import torch.fx
from tensorboardX.proto.attr_value_pb2 import AttrValue  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.proto.graph_pb2 import GraphDef  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.proto.node_def_pb2 import NodeDef  # pyright: ignore[reportAttributeAccessIssue]
from torch import nn


class _Layers(torch.fx.Tracer):
    """Traces leaf modules as units, user-defined ones too."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        del module_qualified_name
        return not any(True for _ in m.children())


def model_graph(model: nn.Module) -> GraphDef | None:
    """Return the graph of a network, a node a layer or operation; None for one whose flow depends on its input."""
    was_training = model.training
    try:
        # Dropping whole blocks belongs to training.
        traced = _Layers().trace(model.eval())
    except Exception:
        # The network's own code runs on stand-ins for tensors, and may fail on them in any way.
        return None
    finally:
        model.train(was_training)
    modules = dict(model.named_modules())
    names: dict[torch.fx.Node, str] = {}
    taken: set[str] = set()
    nodes: list[NodeDef] = []
    scope = ""
    for node in traced.nodes:
        if node.op == "call_module":
            module = modules[str(node.target)]
            kind, details, name = type(module).__name__, module.extra_repr(), str(node.target).replace(".", "/")
            scope = name.rpartition("/")[0]
        elif node.op == "get_attr":
            kind, details, name = "Parameter", "", str(node.target).replace(".", "/")
        else:
            # Operations stand beside the layer before them.
            kind, details, name = str(node.name).rstrip("_0123456789"), "", f"{scope}/{node.name}" if scope else str(node.name)
        while name in taken:
            name += "_again"
        taken.add(name)
        names[node] = name
        attributes = {"details": AttrValue(s=details.encode())} if details else {}
        nodes.append(NodeDef(name=name, op=kind, input=[names[each] for each in node.all_input_nodes], attr=attributes))
    return GraphDef(node=nodes)
