<?php

return ['driver' => 'array', 'lifetime' => 120, 'cookie' => 'sample', 'path' => '/', 'domain' => null];
