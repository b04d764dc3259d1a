"""What a wrong box costs: which places answer for which object, and the losses of boxes, objectness and classes."""
