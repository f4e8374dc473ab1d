// Checks a PodMonitor, given as JSON on the command line, against the operator's own schema.
import { PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor";

new PodMonitor(JSON.parse(process.argv[2])).validate();
