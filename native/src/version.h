#pragma once
#define BERTH_VERSION	   "0.1.0"
#define BERTH_SPEC_VERSION "1.2.0"
