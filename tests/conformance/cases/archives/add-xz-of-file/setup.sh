mkdir -p r/d && echo 1 >r/f && echo 2 >r/d/g && ln -s f r/l && chmod 640 r/f && xz -c r/f >a.xz && rm -r r
